"""Static pages that show one clip's verdict to a person, without a network."""
