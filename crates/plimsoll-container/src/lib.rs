//! Containers as long-lived things.
