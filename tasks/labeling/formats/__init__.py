"""What readers of label files share, whatever the files hold: text and numbers, and the names of images."""
