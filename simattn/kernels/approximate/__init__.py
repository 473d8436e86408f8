"""Algorithms that do not compute softmax(QKᵀ/√d)V: what they leave out is counted, and what they err by is measured."""
