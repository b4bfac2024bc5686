/// Finds the shapes in a picture of a scene: exactly in one that was drawn, and as well as can be in one that a model made.
///
/// What is nearer to one of the colours than to white belongs to an object, pixels side by side to the same one. Its colour is that
/// nearest to the median of its pixels, its shape the one whose mask, drawn into the same box, has the most in common with it.
public enum SceneFinder {
    /// Smaller things, as a share of the picture, are specks.
    private static let speck = 0.01
    /// The least share of common pixels, of those of either, that makes a shape.
    private static let leastLikeness = 0.7
    /// How much longer than wide a shape may be, or the reverse.
    private static let stretch = 1.5

    /// In the order in which rows meet them.
    public static func objects(in picture: Picture) -> [SceneObject] {
        let width = picture.width
        var open = (0..<width * picture.height).map { isCovered(picture[$0 % width, $0 / width]) }
        var objects: [SceneObject] = []
        for start in open.indices where open[start] {
            let pixels = component(from: start, width: width, &open)
            guard Double(pixels.count) >= speck * Double(open.count) else { continue }
            if let object = object(of: pixels, in: picture) { objects.append(object) }
        }
        return objects
    }

    private static func isCovered(_ pixel: SIMD3<UInt8>) -> Bool {
        // Most of them.
        guard pixel.min() < 255 else { return false }
        let colour = SIMD3<Float>(pixel)
        return SceneColour.nearest(to: colour).distance
            < SceneColour.squaredDistance(SIMD3<Float>(repeating: 255), colour)
    }

    /// The pixels that hang together with one, which are taken out of those that are open.
    private static func component(from start: Int, width: Int, _ open: inout [Bool]) -> [Int] {
        open[start] = false
        var pixels = [start], next = 0
        while next < pixels.count {
            let pixel = pixels[next]
            next += 1
            var neighbours = [pixel - width, pixel + width]
            if pixel % width > 0 { neighbours.append(pixel - 1) }
            if pixel % width < width - 1 { neighbours.append(pixel + 1) }
            for neighbour in neighbours where open.indices.contains(neighbour) && open[neighbour] {
                open[neighbour] = false
                pixels.append(neighbour)
            }
        }
        return pixels
    }

    private static func object(of pixels: [Int], in picture: Picture) -> SceneObject? {
        let columns = pixels.map { $0 % picture.width }, rows = pixels.map { $0 / picture.width }
        guard let left = columns.min(), let right = columns.max(), let top = rows.min(), let bottom = rows.max()
        else { return nil }
        let box = SceneObject.Box(x: left, y: top, width: right - left + 1, height: bottom - top + 1)
        var alone = Picture(width: box.width, height: box.height)
        var mask = [Bool](repeating: false, count: box.width * box.height)
        for (x, y) in zip(columns, rows) {
            alone[x - left, y - top] = picture[x, y]
            mask[(y - top) * box.width + x - left] = true
        }
        guard let colour = DominantColour.measure(alone) else { return nil }
        return SceneObject(
            shape: shape(of: mask, box), colour: SceneColour.nearest(to: colour).colour, box: box)
    }

    private static func shape(of mask: [Bool], _ box: SceneObject.Box) -> SceneShape? {
        let (short, long) = (min(box.width, box.height), max(box.width, box.height))
        guard Double(long) <= stretch * Double(short) else { return nil }
        let likeness = SceneShape.allCases.map { shape in
            let other = shape.mask(width: box.width, height: box.height)
            let both = zip(mask, other).count { $0 && $1 }, either = zip(mask, other).count { $0 || $1 }
            return (shape: shape, share: Double(both) / Double(max(1, either)))
        }
        return likeness.max { $0.share < $1.share }.flatMap { $0.share >= leastLikeness ? $0.shape : nil }
    }
}
