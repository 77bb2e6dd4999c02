package ort

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
)

// checkELF refuses a library that cannot be loaded: the loader says little about some, and a file that was cut short takes
// the process down with SIGBUS. What is not there is left to whoever looks for it. It reads the headers only.
func checkELF(path string, exports ...string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return fmt.Errorf("%s is not a file; name the .so file", path)
	}
	lib, err := elf.NewFile(f)
	if err != nil {
		return fmt.Errorf("%s is not a library, or damaged (%w); %s", path, err, copyAgain)
	}
	if lib.Type != elf.ET_DYN || lib.Machine != machine() || lib.Class != elf.ELFCLASS64 {
		return fmt.Errorf("%s is not a library for this processor (%s) but %v, %v, %v; take the one for %s", path, runtime.GOARCH, lib.Type, lib.Machine, lib.Class, runtime.GOARCH)
	}
	for _, p := range lib.Progs {
		if size := uint64(st.Size()); p.Off > size || p.Filesz > size-p.Off {
			return fmt.Errorf("%s is cut short (%d bytes, and there should be more); %s", path, size, copyAgain)
		}
	}
	symbols, err := lib.DynamicSymbols()
	if errors.Is(err, elf.ErrNoSymbols) {
		return nil // the list was stripped off; the loader has another one
	}
	if err != nil {
		return fmt.Errorf("%s is damaged (%w); %s", path, err, copyAgain)
	}
	for _, name := range exports {
		if !slices.ContainsFunc(symbols, func(s elf.Symbol) bool { return s.Name == name && s.Section != elf.SHN_UNDEF }) {
			return fmt.Errorf("%s is another library than its place or name says: it has no function %s; %s", path, name, copyAgain)
		}
	}
	return nil
}

const copyAgain = "copy it again, from the package that it belongs to"

func machine() elf.Machine {
	if runtime.GOARCH == "arm64" {
		return elf.EM_AARCH64
	}
	return elf.EM_X86_64
}

// checkBeside looks at the libraries that ONNX Runtime will look for beside its own. Where one is missing, it says so itself.
func (r *Runtime) checkBeside(provider string) error {
	for file, function := range map[string]string{
		"libonnxruntime_providers_shared.so":           "Provider_SetHost",
		"libonnxruntime_providers_" + provider + ".so": "GetProvider",
	} {
		err := checkELF(filepath.Join(filepath.Dir(r.library), file), function)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}
