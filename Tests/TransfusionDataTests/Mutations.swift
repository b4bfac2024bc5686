import Foundation

/// Files that are damaged at random, the same each time.
struct Mutations {
    private var state: UInt64

    init(seed: UInt64) {
        state = seed &* 2 &+ 1
    }

    /// How many to try: `TRANSFUSION_FUZZ` where it is set.
    static func count(default count: Int) -> Int {
        ProcessInfo.processInfo.environment["TRANSFUSION_FUZZ"].flatMap { Int($0) } ?? count
    }

    mutating func below(_ bound: Int) -> Int {
        // SplitMix64.
        state &+= 0x9E37_79B9_7F4A_7C15
        var word = state
        word = (word ^ word >> 30) &* 0xBF58_476D_1CE4_E5B9
        word = (word ^ word >> 27) &* 0x94D0_49BB_1331_11EB
        return Int((word ^ word >> 31) % UInt64(max(1, bound)))
    }

    /// With some bytes changed, taken away, doubled or put in, or cut off.
    mutating func mutated(_ bytes: [UInt8]) -> [UInt8] {
        var bytes = bytes
        for _ in 0...below(3) where !bytes.isEmpty {
            let place = below(bytes.count)
            let end = min(bytes.count, place + 1 + below(8))
            switch below(6) {
            case 0: bytes[place] ^= 1 << UInt8(below(8))
            case 1: bytes[place] = [0, 1, 0x7F, 0x80, 0xFE, 0xFF][below(6)]
            case 2: bytes.removeSubrange(place..<end)
            case 3: bytes.insert(contentsOf: bytes[place..<end], at: place)
            case 4: bytes.insert(contentsOf: (0...below(4)).map { _ in UInt8(below(256)) }, at: place)
            default: if below(4) == 0 { bytes.removeSubrange(place...) } else { bytes[place] = UInt8(below(256)) }
            }
        }
        return bytes
    }
}
