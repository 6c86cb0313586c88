package plumb

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Commands of the ethtool ioctl, see linux/ethtool.h.
const (
	ethtoolGetTxChecksum = 0x16
	ethtoolSetTxChecksum = 0x17
)

// ethtoolValue is struct ethtool_value.
type ethtoolValue struct {
	command uint32
	data    uint32
}

// ethtoolRequest is struct ifreq with ifr_data.
type ethtoolRequest struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [16]byte
}

// disableTxChecksumOffload makes the kernel fill in the checksums of what is sent through the interface in the
// calling thread's namespace. The userspace datapath reads raw frames and would pass on unfinished checksums.
func disableTxChecksumOffload(name string) error {
	_, err := ethtool(name, ethtoolSetTxChecksum, 0)
	return err
}

// txChecksumOffload tells whether checksums are left to the "hardware".
func txChecksumOffload(name string) (bool, error) {
	v, err := ethtool(name, ethtoolGetTxChecksum, 0)
	return v != 0, err
}

func ethtool(name string, command, data uint32) (uint32, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	value := ethtoolValue{command: command, data: data}
	request := ethtoolRequest{data: unsafe.Pointer(&value)}
	copy(request.name[:unix.IFNAMSIZ-1], name)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request)))
	if errno != 0 {
		return 0, os.NewSyscallError("ioctl ethtool", errno)
	}
	return value.data, nil
}
