package cluster

import (
	"github.com/ovnkube/ovnkube/test/lab/artifact"
	"github.com/ovnkube/ovnkube/test/lab/image"
)

// PruneImages removes images of earlier builds from the cache, but none that a lab would give to its next node.
func PruneImages(o artifact.Options) error {
	labs, err := List()
	if err != nil {
		return err
	}
	var inUse []string
	for _, name := range labs {
		if l, err := Open(name); err == nil { // it may be taken down just now
			inUse = append(inUse, l.cfg.ImageStore)
		}
	}
	return image.Prune(o, inUse...)
}
