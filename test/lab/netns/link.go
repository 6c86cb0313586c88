package netns

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ethtoolValue is struct ethtool_value of linux/ethtool.h.
type ethtoolValue struct {
	cmd  uint32
	data uint32
}

// ifreqEthtool is struct ifreq of linux/if.h with the data pointer member.
type ifreqEthtool struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [16]byte
}

// TxChecksumOff turns transmit checksum offload off for a device in the calling
// thread's network namespace. Without a real NIC nobody ever fills in such a
// checksum, and a userspace datapath would carry the wrong one to the wire.
func TxChecksumOff(device string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("ethtool socket: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	val := ethtoolValue{cmd: unix.ETHTOOL_STXCSUM, data: 0}
	req := ifreqEthtool{data: unsafe.Pointer(&val)}
	copy(req.name[:unix.IFNAMSIZ-1], device)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req))); errno != 0 {
		return fmt.Errorf("turn transmit checksum offload of %s off: %w", device, errno)
	}
	return nil
}
