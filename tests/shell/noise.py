"""The handler's half of an rdmafs set-up, so that a test can be an attacker that has the key.

Written from the description in rdma/src/handshake alone, with nothing but the standard library: Noise_NNpsk0_25519_AESGCM_BLAKE2s. Slow,
and its timing gives keys away: for tests only.
"""
import hashlib
import hmac
import os
import struct

PRIME = 2**255 - 19


def x25519(scalar, point):
    """RFC 7748, section 5."""
    k = bytearray(scalar)
    k[0] &= 248
    k[31] = k[31] & 127 | 64
    k = int.from_bytes(k, "little")
    u = int.from_bytes(point, "little") & (1 << 255) - 1
    x2, z2, x3, z3, swap = 1, 0, u, 1, 0
    for t in reversed(range(255)):
        bit = k >> t & 1
        if swap ^ bit:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swap = bit
        a, b = x2 + z2, x2 - z2
        aa, bb = a * a % PRIME, b * b % PRIME
        e = aa - bb
        da, cb = (x3 - z3) * a % PRIME, (x3 + z3) * b % PRIME
        x3 = (da + cb) ** 2 % PRIME
        z3 = u * (da - cb) ** 2 % PRIME
        x2 = aa * bb % PRIME
        z2 = e * (aa + 121665 * e) % PRIME
    if swap:
        x2, z2 = x3, z3
    return (x2 * pow(z2, PRIME - 2, PRIME) % PRIME).to_bytes(32, "little")


def times2(a):
    return (a << 1 ^ (0x1B if a & 0x80 else 0)) & 0xFF


def make_sbox():
    box, p, q = [0] * 256, 1, 1
    while True:
        p = p ^ times2(p)
        q ^= q << 1
        q ^= q << 2
        q ^= q << 4
        q &= 0xFF
        if q & 0x80:
            q ^= 0x09
        rotated = q ^ (q << 1 | q >> 7) ^ (q << 2 | q >> 6) ^ (q << 3 | q >> 5) ^ (q << 4 | q >> 4)
        box[p] = rotated & 0xFF ^ 0x63
        if p == 1:
            break
    box[0] = 0x63
    return box


SBOX = make_sbox()


class AesGcm:
    """AES-256-GCM with the nonces of Noise."""

    def __init__(self, key):
        words = [list(key[i : i + 4]) for i in range(0, 32, 4)]
        round_constant = 1
        for i in range(8, 60):
            word = list(words[-1])
            if i % 8 == 0:
                word = [SBOX[b] for b in word[1:] + word[:1]]
                word[0] ^= round_constant
                round_constant = times2(round_constant)
            elif i % 8 == 4:
                word = [SBOX[b] for b in word]
            words.append([a ^ b for a, b in zip(words[i - 8], word)])
        self.rounds = [sum(words[i : i + 4], []) for i in range(0, 60, 4)]
        self.h = int.from_bytes(self.block(bytes(16)), "big")
        self.nonce = 0

    def block(self, plain):
        state = [a ^ b for a, b in zip(plain, self.rounds[0])]
        for number, key in enumerate(self.rounds[1:], 1):
            state = [SBOX[state[(i + 4 * (i % 4)) % 16]] for i in range(16)]
            if number < 14:
                mixed = []
                for c in range(0, 16, 4):
                    column = state[c : c + 4]
                    whole = column[0] ^ column[1] ^ column[2] ^ column[3]
                    mixed += [column[i] ^ whole ^ times2(column[i] ^ column[(i + 1) % 4]) for i in range(4)]
                state = mixed
            state = [a ^ b for a, b in zip(state, key)]
        return bytes(state)

    def ghash(self, data):
        y = 0
        for i in range(0, len(data), 16):
            y ^= int.from_bytes(data[i : i + 16], "big")
            z, v = 0, self.h
            for bit in reversed(range(128)):
                if y >> bit & 1:
                    z ^= v
                v = v >> 1 ^ (0xE1 << 120 if v & 1 else 0)
            y = z
        return y

    def stream(self, length):
        """Of this nonce: what the tag is hidden with, and what the text is."""
        start = bytes(4) + self.nonce.to_bytes(8, "big")
        self.nonce += 1
        blocks = [self.block(start + struct.pack(">I", n)) for n in range(1, 2 + (length + 15) // 16)]
        return blocks[0], b"".join(blocks[1:])[:length]

    def tag(self, hide, text, also):
        padded = also + bytes(-len(also) % 16) + text + bytes(-len(text) % 16)
        padded += struct.pack(">QQ", 8 * len(also), 8 * len(text))
        return bytes(a ^ b for a, b in zip(self.ghash(padded).to_bytes(16, "big"), hide))

    def seal(self, plain, also=b""):
        hide, stream = self.stream(len(plain))
        text = bytes(a ^ b for a, b in zip(plain, stream))
        return text + self.tag(hide, text, also)

    def open(self, sealed, also=b""):
        text, tag = sealed[:-16], sealed[-16:]
        hide, stream = self.stream(len(text))
        assert tag == self.tag(hide, text, also), "a record does not decrypt"
        return bytes(a ^ b for a, b in zip(text, stream))


def derive(chain, material, count):
    key = hmac.new(chain, material, hashlib.blake2s).digest()
    out = [b""]
    for number in range(1, count + 1):
        out.append(hmac.new(key, out[-1] + bytes([number]), hashlib.blake2s).digest())
    return out[1:]


class Initiator:
    """From a key file to an encrypted channel: send `opening`, give `finish` the 59 bytes of the reply, then `record`."""

    def __init__(self, key_file):
        with open(key_file) as file:
            word, key_id, secret = file.read().split()
        assert word == "rdmafs-key-1"
        prologue = b"\0rdmafs\0" + b"\1\0" + bytes.fromhex(key_id)
        self.hash = hashlib.blake2s(b"Noise_NNpsk0_25519_AESGCM_BLAKE2s").digest()
        self.chain = self.hash
        self.mix_hash(prologue)
        self.chain, mixed, key = derive(self.chain, bytes.fromhex(secret), 3)
        self.mix_hash(mixed)
        self.secret = os.urandom(32)
        public = x25519(self.secret, (9).to_bytes(32, "little"))
        self.mix_hash(public)
        self.mix_key(public)
        self.opening = prologue + public + self.cipher.seal(b"", self.hash)
        self.mix_hash(self.opening[-16:])

    def mix_hash(self, data):
        self.hash = hashlib.blake2s(self.hash + data).digest()

    def mix_key(self, material):
        self.chain, key = derive(self.chain, material, 2)
        self.cipher = AesGcm(key)

    def finish(self, reply):
        assert reply[:11] == b"\0rdmafs\0\1\0\0", reply
        public = reply[11:43]
        self.mix_hash(public)
        self.mix_key(public)
        self.mix_key(x25519(self.secret, public))
        self.cipher.open(reply[43:], self.hash)
        self.sending, self.receiving = (AesGcm(key) for key in derive(self.chain, b"", 2))

    def record(self, plain):
        sealed = self.sending.seal(plain)
        return struct.pack("<H", len(sealed)) + sealed


def control(pool, queues=2, host="attacker"):
    """The Hello of a control connection of tcp."""
    return text(pool) + text(host) + bytes([0, 2, queues])


def data(pool, token, encrypted=False, host="attacker"):
    """The Hello of a data connection."""
    return text(pool) + text(host) + bytes([1]) + token + bytes([encrypted])


def text(word):
    return bytes([len(word)]) + word.encode()
