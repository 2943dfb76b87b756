"""What every room uses: errors, files, paths, progress, precision, seeds, compiled kernels."""
