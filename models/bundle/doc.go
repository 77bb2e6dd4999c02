// Package bundle makes the files of one model version out of what was downloaded: an ONNX file, and as far as they came
// with it a manifest, labels, weights in other files, and golden pictures. These are one unit: they are installed, used
// and removed together.
//
// A blob is an archive (tar, tar+gzip, tar+zstd) or one of the files. Several archives are the layers of an image: a
// later one adds to the earlier ones and replaces their files. What a blob is, is told by its contents, never by its
// name.
//
// Everything in an archive is somebody else's: names, sizes, types, and how far it expands. Unpack writes regular files
// with checked names through os.Root, counts what comes out while it comes, and refuses the rest, whole archives and
// not single entries. README-like files are kept; only the entries that macOS adds are dropped.
//
// Pure Go; imports nothing of ours; functions may be called concurrently for different directories.
package bundle
