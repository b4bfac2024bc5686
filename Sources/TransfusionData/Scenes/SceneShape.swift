/// The shapes of scenes.
public enum SceneShape: String, CaseIterable, Sendable {
    case circle, square, triangle, diamond

    /// Which pixels of a box belong to the shape that fills it: `[height, width]`. Whole numbers only, so that a shape that was
    /// drawn is found by the same mask.
    func mask(width: Int, height: Int) -> [Bool] {
        (0..<height).flatMap { y in
            (0..<width).map { x in
                // Twice the distance of the pixel's middle from that of the box.
                let across = abs(2 * x + 1 - width) * height, down = abs(2 * y + 1 - height) * width
                return switch self {
                case .circle: across * across + down * down <= width * height * width * height
                case .square: true
                case .triangle: across <= (y + 1) * width
                case .diamond: across + down <= width * height
                }
            }
        }
    }
}

/// The colours of scenes.
public enum SceneColour: String, CaseIterable, Sendable {
    case red, orange, yellow, green, blue, purple, black

    var rgb: SIMD3<UInt8> {
        switch self {
        case .red: SIMD3(220, 30, 40)
        case .orange: SIMD3(245, 130, 20)
        case .yellow: SIMD3(250, 215, 0)
        case .green: SIMD3(30, 150, 60)
        case .blue: SIMD3(30, 90, 220)
        case .purple: SIMD3(140, 40, 180)
        case .black: SIMD3(20, 20, 20)
        }
    }

    /// The nearest one, and the square of how far it is.
    static func nearest(to colour: SIMD3<Float>) -> (colour: SceneColour, distance: Float) {
        allCases.map { ($0, squaredDistance(SIMD3<Float>($0.rgb), colour)) }.min { $0.1 < $1.1 } ?? (.black, 0)
    }

    static func squaredDistance(_ a: SIMD3<Float>, _ b: SIMD3<Float>) -> Float { ((a - b) * (a - b)).sum() }
}
