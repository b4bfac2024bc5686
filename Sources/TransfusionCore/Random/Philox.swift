internal import CKernels

/// Random numbers with an address instead of a state.
///
/// A number is a pure function of (seed, purpose, step, index, position), so initial weights, noise and timesteps do not
/// depend on how many ranks there are or on what was drawn before, and there is no generator to save in a checkpoint.
///
/// ### References
/// Salmon, Moraes, Dror and Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3" (Philox 4x32-10).
public struct Philox: Sendable {
    /// What the numbers are for. Numbers for different purposes never share an address.
    public enum Purpose: UInt8, Sendable {
        case weights = 1
        case noise = 2
        case timestep = 3
        case order = 4
        case captionFirst = 5
        case captionDropout = 6
        case sampling = 7
        case textSampling = 8
        case packing = 9
        case tokenizerSample = 10
        case sparePacking = 11
        case rowDealing = 12
        case rowOrder = 13
        case horizontalFlip = 16
        case resampling = 14
        case validationNoise = 15
        case scenes = 17
        case codebook = 18
    }

    private let key: UInt64
    private let purpose: Purpose
    private let step: UInt32
    private let index: UInt32

    /// - Parameters:
    ///   - step: The training step, or 0 where there is none.
    ///   - index: Which sample, image or parameter.
    public init(seed: UInt64, purpose: Purpose, step: Int = 0, index: Int = 0) {
        key = seed
        self.purpose = purpose
        self.step = UInt32(truncatingIfNeeded: step)
        self.index = UInt32(truncatingIfNeeded: index)
    }

    /// The purpose takes the top byte of the 64-bit block number.
    private var firstBlock: UInt64 { UInt64(purpose.rawValue) << 56 }

    /// Four random words: block `block` of this address.
    public func words(_ block: Int) -> SIMD4<UInt32> {
        let number = firstBlock &+ UInt64(block)
        return Self.block(
            counter: SIMD4(UInt32(truncatingIfNeeded: number), UInt32(truncatingIfNeeded: number >> 32), index, step),
            key: SIMD2(UInt32(truncatingIfNeeded: key), UInt32(truncatingIfNeeded: key >> 32)))
    }

    /// A uniform integer in `0..<bound`, without bias that matters (64-bit multiply-shift).
    public func integer(below bound: Int, at position: Int = 0) -> Int {
        precondition(bound > 0)
        let words = words(position)
        let wide = UInt64(words.x) << 32 | UInt64(words.y)
        return Int(wide.multipliedFullWidth(by: UInt64(bound)).high)
    }

    /// A uniform number in `[0, 1)` with 53 bits.
    public func uniform(at position: Int = 0) -> Double {
        let words = words(position)
        return Double((UInt64(words.x) << 32 | UInt64(words.y)) >> 11) * 0x1p-53
    }

    /// Fills `values` with normal numbers; `values[i]` is the number at position `offset + i`.
    public func fillNormal(
        _ values: UnsafeMutableBufferPointer<Float>, offset: Int = 0, standardDeviation: Float = 1
    ) {
        guard let address = values.baseAddress else { return }
        tf_philox_normal(
            address, values.count, UInt64(offset), firstBlock, index, step, key, standardDeviation)
    }

    /// The raw generator, for known-answer tests.
    static func block(counter: SIMD4<UInt32>, key: SIMD2<UInt32>) -> SIMD4<UInt32> {
        var counter = counter
        var key = key
        var words = SIMD4<UInt32>()
        withUnsafePointer(to: &counter) { counter in
            withUnsafePointer(to: &key) { key in
                withUnsafeMutablePointer(to: &words) { words in
                    tf_philox_block(
                        UnsafeRawPointer(counter).assumingMemoryBound(to: UInt32.self),
                        UnsafeRawPointer(key).assumingMemoryBound(to: UInt32.self),
                        UnsafeMutableRawPointer(words).assumingMemoryBound(to: UInt32.self))
                }
            }
        }
        return words
    }
}
