/// Weights over one input as signed bytes, with a factor for each output.
///
/// ### References
/// Dettmers et al. 2022, "LLM.int8()", section 2.1: symmetric, with a scale for each row.
final class QuantizedWeights {
    /// `[outputs, inputs]`; the bytes are signed.
    let bytes: Tensor
    /// `[outputs]`, f32: what the bytes of each are multiplied by.
    let factors: Tensor

    init(bytes: Tensor, factors: Tensor) {
        self.bytes = bytes
        self.factors = factors
    }

    var outputs: Int { bytes.rows }
}
