//go:build !unix

package files

// nonblock is not needed where pipes have no names in the file system.
const nonblock = 0
