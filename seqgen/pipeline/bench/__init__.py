"""What `seqgen bench generate` measures: stages, whole runs, memory, and pyrender over the same scenes."""
