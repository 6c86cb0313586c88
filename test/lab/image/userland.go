package image

import (
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// executable returns the files that put a program of this machine into an image at
// dst: the program and, if it is dynamic, its interpreter and libraries, under the
// paths they have here.
func executable(source, dst string) (Layer, error) {
	real, err := filepath.EvalSymlinks(source)
	if err != nil {
		return nil, fmt.Errorf("program %s (which Debian package has it? see artifact.Packages): %w", source, err)
	}
	files := Layer{{Path: dst, Mode: 0o755, Source: real}}
	libs, err := libraries(real)
	if err != nil {
		return nil, fmt.Errorf("libraries of %s: %w", source, err)
	}
	for _, lib := range libs {
		target, err := filepath.EvalSymlinks(lib)
		if err != nil {
			return nil, fmt.Errorf("libraries of %s: %w", source, err)
		}
		files = append(files, File{Path: strings.TrimPrefix(lib, "/"), Mode: 0o755, Source: target})
	}
	return files, nil
}

// libraries returns the paths of the dynamic loader and of all libraries a program
// needs, directly and indirectly, sorted.
func libraries(program string) ([]string, error) {
	dirs, err := libraryDirs()
	if err != nil {
		return nil, err
	}
	found := map[string]bool{}
	todo := []string{program}
	for len(todo) > 0 {
		needed, interpreter, err := imports(todo[0])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", todo[0], err)
		}
		todo = todo[1:]
		if interpreter != "" {
			found[interpreter] = true
		}
		for _, name := range needed {
			lib, err := findLibrary(dirs, name)
			if err != nil {
				return nil, err
			}
			if !found[lib] {
				found[lib] = true
				todo = append(todo, lib)
			}
		}
	}
	var list []string
	for lib := range found {
		list = append(list, lib)
	}
	slices.Sort(list)
	return list, nil
}

// imports reads the names of needed libraries and the interpreter from an ELF file.
func imports(file string) (needed []string, interpreter string, err error) {
	f, err := elf.Open(file)
	if err != nil {
		return nil, "", err
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		data := make([]byte, p.Filesz)
		if _, err := p.ReadAt(data, 0); err != nil {
			return nil, "", err
		}
		interpreter = strings.TrimRight(string(data), "\x00")
	}
	needed, err = f.ImportedLibraries()
	return needed, interpreter, err
}

// libraryDirs returns the folders in which Debian's loader looks, in its order.
func libraryDirs() ([]string, error) {
	var dirs []string
	for _, pattern := range []string{"/lib/*-linux-gnu", "/usr/lib/*-linux-gnu", "/lib", "/usr/lib"} {
		matches, err := filepath.Glob(pattern)
		if err != nil {
			return nil, err
		}
		dirs = append(dirs, matches...)
	}
	return dirs, nil
}

func findLibrary(dirs []string, name string) (string, error) {
	for _, dir := range dirs {
		file := filepath.Join(dir, name)
		if _, err := os.Stat(file); err == nil {
			return file, nil
		}
	}
	return "", fmt.Errorf("library %s is not in %s: %w", name, strings.Join(dirs, ", "), fs.ErrNotExist)
}

// merge puts the files of several layers into one, equal ones once.
func merge(layers ...Layer) Layer {
	var all Layer
	seen := map[File]bool{}
	for _, f := range slices.Concat(layers...) {
		if !seen[f] {
			seen[f] = true
			all = append(all, f)
		}
	}
	return all
}

// layer returns a layer with the programs and their libraries.
func (t toolTable) layer() (Layer, error) {
	var layers []Layer
	for _, tool := range t {
		source := tool.source
		if _, err := os.Stat(source); errors.Is(err, fs.ErrNotExist) {
			// Debian moves programs between bin and sbin from release to release.
			source = strings.Replace(source, "/bin/", "/sbin/", 1)
		}
		l, err := executable(source, tool.dst)
		if err != nil {
			return nil, err
		}
		layers = append(layers, l)
	}
	return merge(layers...), nil
}

// without returns the layer without the files that lower layers have just the same.
func (l Layer) without(lower ...Layer) Layer {
	have := map[File]bool{}
	for _, f := range slices.Concat(lower...) {
		have[f] = true
	}
	return slices.DeleteFunc(slices.Clone(l), func(f File) bool { return have[f] })
}
