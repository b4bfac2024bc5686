internal import Glibc

/// Cosines and sines of the rotary embedding, for every position that has occurred so far.
///
/// The angle of position p and pair i is `p · base^(−2i / headWidth)`, computed in double.
/// ### References
/// Su et al. 2021, "RoFormer"; the rotate-half pairing of Hugging Face Llama.
package final class RotaryTable {
    private(set) var cosine: [Float] = []
    private(set) var sine: [Float] = []
    let headWidth: Int
    private let frequencies: [Double]
    private var positions = 0

    package init(headWidth: Int, base: Float, scaling: RotaryScaling? = nil) {
        self.headWidth = headWidth
        frequencies = (0..<headWidth / 2).map {
            let frequency = pow(Double(base), -2 * Double($0) / Double(headWidth))
            return scaling?.scaled(frequency) ?? frequency
        }
    }

    /// Makes sure that the positions `0..<count` are there.
    func extend(to count: Int) {
        guard count > positions else { return }
        let count = max(count, 2 * positions)
        for position in positions..<count {
            for frequency in frequencies {
                let angle = Double(position) * frequency
                cosine.append(Float(cos(angle)))
                sine.append(Float(sin(angle)))
            }
        }
        positions = count
    }
}
