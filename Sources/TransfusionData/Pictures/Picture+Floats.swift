internal import CKernels

extension Picture {
    /// How the numbers that a network sees are made of pixels.
    public enum NetworkResizing: Sendable {
        /// Pillow's bicubic on numbers that are not rounded, within 0 … 255: that of clean-fid.
        case antialiased
        /// Between the nearest pixels alone, so that fine patterns alias when the picture shrinks: that of pytorch-fid.
        case bilinear
    }

    /// The picture in another size without rounding to bytes: `[height, width, 3]` in 0 … 255.
    public func resizedNumbers(width newWidth: Int, height newHeight: Int, _ resizing: NetworkResizing) -> [Float] {
        precondition(newWidth > 0 && newHeight > 0)
        func places(_ old: Int, _ new: Int) -> ResamplingPlaces {
            switch resizing {
            case .antialiased: ResamplingPlaces(from: old, to: new, .bicubic)
            case .bilinear: ResamplingPlaces(linearFrom: old, to: new)
            }
        }
        var numbers = rgb.map(Float.init)
        if newWidth != width {
            let across = places(width, newWidth)
            numbers = [Float](unsafeUninitializedCapacity: newWidth * height * 3) { [numbers] out, count in
                count = newWidth * height * 3
                tf_resample_across_f32(
                    numbers, out.baseAddress!, height, width, newWidth, across.firsts, across.counts, across.weights,
                    across.taps)
            }
        }
        if newHeight != height {
            let down = places(height, newHeight)
            numbers = [Float](unsafeUninitializedCapacity: newWidth * newHeight * 3) { [numbers] out, count in
                count = newWidth * newHeight * 3
                tf_resample_down_f32(
                    numbers, out.baseAddress!, newWidth * 3, newHeight, down.firsts, down.counts, down.weights,
                    down.taps)
            }
        }
        return resizing == .antialiased ? numbers.map { min(max($0, 0), 255) } : numbers
    }
}
