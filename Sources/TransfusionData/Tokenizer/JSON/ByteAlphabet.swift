/// The two ways in which vocabularies write single bytes.
enum ByteAlphabet {
    /// The letter that stands for each byte in GPT-2's vocabulary: printable ones for themselves, the others from U+0100 on.
    static let letters: [Unicode.Scalar] = {
        var next: UInt32 = 0x100
        return (0..<256).map { (byte: UInt32) in
            if (33...126).contains(byte) || (161...172).contains(byte) || byte >= 174 {
                return Unicode.Scalar(byte) ?? "?"
            }
            defer { next += 1 }
            return Unicode.Scalar(next) ?? "?"
        }
    }()

    private static let bytesOfLetters: [Int?] = {
        var bytes = [Int?](repeating: nil, count: 0x200)
        for (byte, letter) in letters.enumerated() { bytes[Int(letter.value)] = byte }
        return bytes
    }()

    /// The bytes that a token of such letters stands for; nil when another letter is in it.
    static func bytes(of token: [UInt8]) -> [UInt8]? {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(token.count)
        let isWritten = token.withUnsafeBufferPointer { token in
            var place = 0
            while place < token.count {
                let (scalar, length) = UTF8Scalar.decode(token, at: place)
                guard scalar < bytesOfLetters.count, let byte = bytesOfLetters[scalar] else { return false }
                bytes.append(UInt8(byte))
                place += length
            }
            return true
        }
        return isWritten ? bytes : nil
    }

    /// The byte that a token such as `<0x0A>` stands for.
    static func byte(named token: some Collection<UInt8>) -> UInt8? {
        guard token.count == 6, token.starts(with: "<0x".utf8), token.dropFirst(5).first == UInt8(ascii: ">") else {
            return nil
        }
        let digits = String(decoding: token.dropFirst(3).prefix(2), as: UTF8.self)
        return digits.allSatisfy(\.isHexDigit) ? UInt8(digits, radix: 16) : nil
    }

    /// Whether a byte occurs in UTF-8 at all.
    static func isOfUTF8(_ byte: Int) -> Bool { byte < 0xC0 || (0xC2...0xF4).contains(byte) }
}
