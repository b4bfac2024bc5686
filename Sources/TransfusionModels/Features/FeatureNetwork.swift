public import TransfusionCore

/// A network whose weights others have trained and that is never trained here: it looks at pictures for a loss.
public protocol FeatureNetwork: AnyObject {
    /// Without gradients.
    var parameters: ParameterStore { get }
    /// Pictures are as high and as wide at least.
    var smallestSide: Int { get }
    /// How far reconstructions are from pictures, one number an image; while recording, `scale` times the gradient of the sum
    /// goes back to the reconstructions.
    /// - Parameters:
    ///   - reconstructions: `[images, height, width, 3]` in [−1, 1] and a little beyond, in the context's type.
    ///   - pictures: Of the same shape.
    func distances(
        _ reconstructions: Tensor, from pictures: Tensor, scale: Float, _ context: Context
    ) -> [Double]
}
