"""What the conformance tests share: programs that run while they are needed, and the daemon under test."""
