"""What a report of the observer means, by the files of the image: the environments that run, and what is not the image's."""
