"""Where things are kept: the home folder, the warehouse of tables and its views, checkpoints, files replaced whole."""
