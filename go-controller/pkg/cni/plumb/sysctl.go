package plumb

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// setIPv6 sets net.ipv6.conf.INTERFACE.KEY in the calling thread's namespace. A value that is right is not written again:
// writing some of them contends for the kernel's lock of network configuration. A kernel without IPv6 has nothing to set.
func setIPv6(iface, key, value string) error {
	path := "/proc/sys/net/ipv6/conf/" + iface + "/" + key
	old, err := os.ReadFile(path)
	if err == nil && strings.TrimSpace(string(old)) == value {
		return nil
	}
	err = os.WriteFile(path, []byte(value), 0)
	if errors.Is(err, os.ErrNotExist) {
		if _, statErr := os.Stat("/proc/sys/net/ipv6"); errors.Is(statErr, os.ErrNotExist) {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("sysctl: %w", err)
	}
	return nil
}
