//! Sandbox, tiny root file systems and snapshot filters for tests.
