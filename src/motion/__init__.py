"""Everything that happens to keypoints: numpy and torch only, no pixels, no files of other stages."""
