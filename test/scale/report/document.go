package report

import (
	"fmt"
	"os"
	"strings"
)

// A document keeps each scenario's last table between two comments, which Markdown does not show.
const (
	beginFormat = "<!-- bench:begin %s -->"
	endFormat   = "<!-- bench:end %s -->"
	// newHere marks where the table of a scenario goes that the document has no comments for.
	newHere = "<!-- bench:new -->"
)

// UpdateFile puts the table of r into the Markdown document at path. Everything outside the scenario's own
// comments stays as it is.
func UpdateFile(path string, r *Result) error {
	old, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("document of figures: %w", err)
	}
	text, err := update(string(old), r)
	if err != nil {
		return fmt.Errorf("update %s: %w", path, err)
	}
	if text == string(old) {
		return nil
	}
	temporary := path + ".new"
	if err := os.WriteFile(temporary, []byte(text), 0o644); err != nil {
		return fmt.Errorf("document of figures: %w", err)
	}
	return os.Rename(temporary, path)
}

func update(text string, r *Result) (string, error) {
	begin, end := fmt.Sprintf(beginFormat, r.ID), fmt.Sprintf(endFormat, r.ID)
	block := begin + "\n" + r.Markdown() + end
	before, rest, found := strings.Cut(text, begin)
	if found {
		_, after, ok := strings.Cut(rest, end)
		if !ok {
			return "", fmt.Errorf("%q has no %q after it", begin, end)
		}
		return before + block + after, nil
	}
	before, after, found := strings.Cut(text, newHere)
	if !found {
		return "", fmt.Errorf("it has neither %q nor %q, so there is no place for the table", begin, newHere)
	}
	return before + block + "\n\n" + newHere + after, nil
}
