"""What text is made of: character classes, words, lines, n-grams, as kernels over Arrow's UTF-8 buffers."""
