internal import CKernels

/// How the values of several ranks become one.
enum Reduction {
    case sumFloat
    case sumDouble
    case maxFloat

    var elementBytes: Int { self == .sumDouble ? 8 : 4 }

    /// Combines `inputs`, each of `byteCount` bytes, into `out`, in the fixed order of a binary tree over `inputs`.
    /// `out` may be one of the inputs.
    func combine(_ inputs: [UnsafeRawPointer], into out: UnsafeMutableRawPointer, byteCount: Int) {
        let count = byteCount / elementBytes
        switch self {
        case .sumFloat:
            tf_tree_sum_f32(
                out.assumingMemoryBound(to: Float.self), inputs.map { $0.assumingMemoryBound(to: Float.self) },
                inputs.count, count)
        case .sumDouble:
            tf_tree_sum_f64(
                out.assumingMemoryBound(to: Double.self), inputs.map { $0.assumingMemoryBound(to: Double.self) },
                inputs.count, count)
        case .maxFloat:
            tf_max_f32(
                out.assumingMemoryBound(to: Float.self), inputs.map { $0.assumingMemoryBound(to: Float.self) },
                inputs.count, count)
        }
    }
}
