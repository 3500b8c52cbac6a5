"""How fast each part is on this machine; core and pose are timed with numpy and torch alone."""
