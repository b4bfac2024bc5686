/// Characters of UTF-8 that is known to be valid.
enum UTF8Scalar {
    /// The character that begins at `place`, and its bytes.
    @inline(__always)
    static func decode(_ bytes: UnsafeBufferPointer<UInt8>, at place: Int) -> (scalar: Int, length: Int) {
        let first = Int(bytes[place])
        if first < 0x80 { return (first, 1) }
        let length = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4
        var scalar = first & (0x7F >> length)
        for next in place + 1..<place + length { scalar = scalar << 6 | Int(bytes[next] & 0x3F) }
        return (scalar, length)
    }
}
