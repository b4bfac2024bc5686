import Testing
import TransfusionCheckpoint
import TransfusionCore
import _TestUtilities

/// Every layout loads into every layout, bit for bit.
@Suite struct ReshardTests {
    static let layouts = [1, 2, 3, 4].flatMap { data in [1, 2, 4].map { (data, $0) } }.filter { $0.0 * $0.1 <= 8 }

    @Test(arguments: layouts) func loadsIntoAllLayouts(_ data: Int, _ tensor: Int) throws {
        let directory = try TemporaryDirectory()
        let store = CheckpointStore(directory.path, options: .init(compressionLevel: 1, chunkBytes: 64, threads: 2))
        _ = try ThreadRank.run(data * tensor) { collectives in
            try store.save(
                step: 7, metadata: exampleMetadata,
                pieces: SyntheticState.small.pieces(rank: collectives.rank, data: data, tensor: tensor),
                collectives: collectives)
        }
        let checkpoint = try store.open(step: 7)
        #expect(Set(checkpoint.tensors.values) == Set(SyntheticState.small.tensors))
        for (newData, newTensor) in Self.layouts {
            for rank in 0..<newData * newTensor {
                let boxes = SyntheticState.small.boxes(rank: rank, data: newData, tensor: newTensor)
                let buffers = boxes.map {
                    UnsafeMutableRawBufferPointer.allocate(byteCount: $0.byteCount, alignment: 16)
                }
                defer { for buffer in buffers { buffer.deallocate() } }
                try checkpoint.read(zip(boxes, buffers).map { ReadRequest($0, into: $1) })
                for (box, buffer) in zip(boxes, buffers) {
                    #expect(Array(buffer) == SyntheticState.bytes(of: box), "\(box)")
                }
            }
        }
    }
}
