/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * rdmafs.h: atomic changes of 8 bytes of a file on an rdmafs mount. C99 and C++; Linux; needs no library.
 *
 * A word is 8 bytes of a file, at an offset that is a multiple of 8, and a number in little-endian order. The memory node changes it, one
 * change after the other, whichever hosts and programs ask: no change is lost, and all hosts see all changes of a word in one order.
 * A call returns when its change is made. What a program wrote before (with O_DIRECT, on a cache=none mount, or committed by
 * fsync) is seen by whoever sees the change.
 *
 * Only these two calls exclude each other. A write(2) or a store through a mapping that touches the word at the same time may undo a
 * change or be undone by it. To read a word use rdmafs_fetch_add(fd, offset, 0, &value): a read(2) may be answered from this host's
 * page cache, unless the file was opened with O_DIRECT or the mount has cache=none.
 *
 * Who may call: whoever has the file open for reading and writing. Cost: one round trip to the node, never the data's; it blocks for that.
 *
 * Both calls return 0, or -1 with errno:
 *   EINVAL      the offset is no multiple of 8
 *   ENXIO       the file ends before the word does: ftruncate(2) it first
 *   EBADF       fd is not open for reading and writing
 *   ENOSPC      the word lies in a hole and the pool is full
 *   EIO         the node did not answer within the mount's timeout=, or the bytes are lost with an earlier life of the node. After a
 *               broken connection the change is made once or not at all; after this error it is not known which.
 *   EINTR       the program is being killed
 *   ENOTTY      the file is not on an rdmafs mount, or the mount's handler is older than these calls
 */
#ifndef RDMAFS_H
#define RDMAFS_H

#include <stdint.h>
#include <sys/ioctl.h>

#ifdef __cplusplus
extern "C" {
#endif

/* In the byte order of the host. */
struct rdmafs_word {
    uint64_t offset;   /* in: first byte of the word in the file, a multiple of 8 */
    uint64_t operand;  /* in: what is added, or what replaces the word */
    uint64_t expected; /* in: what the word must be to be replaced; 0 when adding */
    uint64_t before;   /* out: what the word was */
};

#define RDMAFS_FETCH_ADD _IOWR('R', 2, struct rdmafs_word)
#define RDMAFS_COMPARE_SWAP _IOWR('R', 3, struct rdmafs_word)

/* Adds `add` to the word, modulo 2^64, and puts what it was before into `*before`. */
static inline int rdmafs_fetch_add(int fd, uint64_t offset, uint64_t add, uint64_t *before)
{
    struct rdmafs_word word = {offset, add, 0, 0};
    if (ioctl(fd, RDMAFS_FETCH_ADD, &word) != 0)
        return -1;
    *before = word.before;
    return 0;
}

/* Replaces the word by `desired` if it is `expected`, and puts what it was before into `*before`: it was replaced if that is `expected`. */
static inline int rdmafs_compare_swap(int fd, uint64_t offset, uint64_t expected, uint64_t desired, uint64_t *before)
{
    struct rdmafs_word word = {offset, desired, expected, 0};
    if (ioctl(fd, RDMAFS_COMPARE_SWAP, &word) != 0)
        return -1;
    *before = word.before;
    return 0;
}

#ifdef __cplusplus
}
#endif

#endif
