//! Dockerfile to graph to image.
