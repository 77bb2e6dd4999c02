// pack makes a library of x86-64 easier to compress before it is embedded (third_party/onnxruntime.sh): it reads it from
// standard input and writes it to standard output.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"gnomon/third_party/embedded/branches"
)

// check makes sure that what is packed becomes again what it was: a library that differs in one byte crashes somewhere.
func check(packed, code []byte) error {
	var out bytes.Buffer
	w := branches.NewWriter(&out)
	if _, err := w.Write(packed); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	if !bytes.Equal(out.Bytes(), code) {
		return errors.New("unpacked, it is another file: there is a mistake in third_party/embedded/branches")
	}
	return nil
}

func main() {
	code, err := io.ReadAll(os.Stdin)
	if err == nil {
		packed := bytes.Clone(code)
		branches.Encode(packed)
		if err = check(packed, code); err == nil {
			_, err = os.Stdout.Write(packed)
		}
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "pack: %v\n", err)
		os.Exit(1)
	}
}
