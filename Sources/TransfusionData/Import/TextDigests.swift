internal import TransfusionCore

/// Which texts are equal to one before them, found from digests that lie in a file, so that memory does not grow with the texts.
struct TextDigests {
    /// A bit for each text.
    private var bits: [UInt64]
    /// How many texts are equal to one before them.
    private(set) var count = 0

    /// So many digests are compared at a time; more are compared in several passes over the file.
    static let mostInMemory = 1 << 22

    /// Bytes of a digest. Zeros stand for what is no text.
    static let bytes = 16

    static func digest(_ text: UnsafeBufferPointer<UInt8>) -> UInt128 {
        SHA256.shortDigest(UnsafeRawBufferPointer(text))
    }

    /// - Parameter path: A file with a digest for each text.
    init(_ path: String, mostInMemory: Int = mostInMemory) throws(DataError) {
        let file = try MappedFile(path)
        let texts = file.bytes.count / Self.bytes
        bits = [UInt64](repeating: 0, count: (texts + 63) / 64)
        let passes = UInt64((texts + mostInMemory - 1) / mostInMemory)
        for pass in 0..<passes {
            var seen: Set<UInt128> = []
            for text in 0..<texts {
                guard let digest: UInt128 = file.integer(at: Self.bytes * text), digest != 0,
                    UInt64(truncatingIfNeeded: digest) % passes == pass, !seen.insert(digest).inserted
                else { continue }
                bits[text / 64] |= 1 << UInt64(text % 64)
                count += 1
            }
            file.forgetPages()
        }
    }

    func isRepeated(_ text: Int) -> Bool {
        text / 64 < bits.count && bits[text / 64] >> UInt64(text % 64) & 1 == 1
    }
}
