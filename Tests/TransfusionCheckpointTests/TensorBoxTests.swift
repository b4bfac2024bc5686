import Testing
import TransfusionCheckpoint
import TransfusionCore

@Suite struct TensorBoxTests {
    @Test(arguments: [[7], [3, 5], [2, 3, 4], [1, 4, 1, 3], []])
    func flatRangesBecomeBoxesInOrder(_ shape: [Int]) {
        // The box lies somewhere inside a larger tensor, like a rank's slice of a parameter.
        let slice = TensorBox(
            name: "w", type: .f32, globalShape: shape.map { $0 + 3 }, offsets: shape.map { _ in 2 }, sizes: shape)
        for start in 0...slice.count {
            for end in start...slice.count {
                let boxes = slice.boxes(ofFlatRange: start..<end)
                #expect(boxes.count <= max(1, 2 * shape.count - 1))
                #expect(boxes.flatMap(Self.flatIndices(within: slice)) == Array(start..<end))
            }
        }
    }

    /// The places of a box's elements in the row-major order of `slice`.
    private static func flatIndices(within slice: TensorBox) -> (TensorBox) -> [Int] {
        { box in
            box.sizes.indices.reduce([0]) { indices, axis in
                indices.flatMap { index in
                    (0..<box.sizes[axis]).map {
                        index * slice.sizes[axis] + box.offsets[axis] - slice.offsets[axis] + $0
                    }
                }
            }
        }
    }
}
