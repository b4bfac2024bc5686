internal import CKernels

/// Memory in which one rank of a world can tell all others that it will not come any more.
final class AbandonFlag {
    static let byteCount = SharedRegion.pageSize
    private static let messageOffset = 64
    private static let messageLimit = byteCount - messageOffset - 1

    private let region: SharedRegion
    private let offset: Int

    /// - Parameter offset: where in `region` its zeroed `byteCount` bytes lie.
    init(region: SharedRegion, offset: Int) {
        self.region = region
        self.offset = offset
    }

    /// Who gave up first and why, once somebody has.
    var abandoned: (rank: Int, message: String)? {
        let rank = tf_counter_read(words + 1)
        guard rank > 0 else { return nil }
        return (Int(rank) - 1, String(cString: message))
    }

    /// Tells everybody; only the first caller's message counts.
    func abandon(rank: Int, message text: String) {
        guard tf_counter_claim(words, UInt64(rank) + 1) != 0 else { return }
        for (index, byte) in text.utf8.prefix(Self.messageLimit).enumerated() {
            message[index] = byte
        }
        tf_counter_publish(words + 1, UInt64(rank) + 1)
    }

    private var words: UnsafeMutablePointer<UInt64> {
        (region.address + offset).assumingMemoryBound(to: UInt64.self)
    }

    private var message: UnsafeMutablePointer<UInt8> {
        (region.address + offset + Self.messageOffset).assumingMemoryBound(to: UInt8.self)
    }
}
