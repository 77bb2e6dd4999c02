// pack makes a library of x86-64 easier to compress before it is embedded (third_party/onnxruntime.sh): it reads it from
// standard input and writes it to standard output.
package main

import (
	"fmt"
	"io"
	"os"

	"gnomon/third_party/embedded/branches"
)

func main() {
	code, err := io.ReadAll(os.Stdin)
	if err == nil {
		branches.Encode(code)
		_, err = os.Stdout.Write(code)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "pack: %v\n", err)
		os.Exit(1)
	}
}
