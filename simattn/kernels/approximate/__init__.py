"""Algorithms that do not compute softmax(QKᵀ/√d)V: the machine counts what they leave out, and their error is measured."""
