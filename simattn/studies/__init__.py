"""What was done with it all: claims of an article, published figures, scenarios, and hardware beside the simulator."""
