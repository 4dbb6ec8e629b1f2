package sqlite

// Files lists the names of all the files that a database at a path may be made of:
// its own, and those that SQLite keeps beside it for a while.
func Files(path string) []string {
	return []string{path, path + "-wal", path + "-shm", path + "-journal"}
}
