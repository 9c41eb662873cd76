package storage

func writerChild() bool { return false }
