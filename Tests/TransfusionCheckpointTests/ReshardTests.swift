import Testing
import TransfusionCore
import _TestUtilities

@testable import TransfusionCheckpoint

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

    /// The files are those that the ranks of a job would write: split where the model splits.
    @Test func reshardsAlongTheAxesOfTheModel() throws {
        let directory = try TemporaryDirectory()
        let model = try WeightFormat.huggingFaceLlama.open(Fixtures.path("checkpoint/llama")).configuration
        let pieces = model.parameterShapes.flatMap { name, shape in
            ["", "optimizer.exp_avg."].map { prefix in
                ShardPiece(TensorBox(name: prefix + name, type: .f32, shape: shape)) { _, buffer in
                    buffer.initializeMemory(as: UInt8.self, repeating: 0)
                }
            }
        }
        let source = CheckpointStore(directory.file("source"))
        try source.save(step: 1, metadata: CheckpointMetadata(configuration: model), pieces: pieces)
        let result = CheckpointStore(directory.file("result"))
        _ = try source.open(step: 1).reshard(into: result, data: 1, tensor: 2)
        let tensors = try result.open(step: 1).manifest.tensors
        for (name, axis) in [
            ("model.embed_tokens.weight", 0), ("lm_head.weight", 0), ("model.layers.0.self_attn.k_proj.weight", 0),
            ("model.layers.1.self_attn.o_proj.weight", 1), ("model.layers.1.mlp.up_proj.weight", 0),
            ("model.layers.0.mlp.down_proj.weight", 1), ("model.norm.weight", nil),
            ("patch_encoder.projection.weight", nil),
        ] {
            for prefix in ["", "optimizer.exp_avg."] {
                let tensor = try #require(tensors[prefix + name], "\(name)")
                var second = [0, 0]
                if let axis { second[axis] = tensor.shape[axis] / 2 }
                let expected = axis == nil ? [tensor.shape.map { _ in 0 }] : [[0, 0], second]
                #expect(tensor.boxes.map(\.offsets).sorted { $0.lexicographicallyPrecedes($1) } == expected, "\(name)")
            }
        }
    }
}
