//! A content-addressed graph of operations.
