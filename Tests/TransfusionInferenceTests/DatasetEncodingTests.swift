import Foundation
import Testing
import TransfusionCheckpoint
import TransfusionCore
import TransfusionData
import TransfusionInference
import TransfusionModels
import _TestUtilities

@Suite struct DatasetEncodingTests {
    private let pictures: SmallDataset
    private let directory: TemporaryDirectory

    init() throws {
        pictures = try SmallDataset()
        directory = try TemporaryDirectory()
    }

    private func encoding(_ kind: String) -> DatasetEncoding {
        var encoding = DatasetEncoding(
            dataset: pictures.path, autoencoder: Fixtures.path("autoencoder/\(kind)"), output: directory.file(kind))
        encoding.batch = 5
        encoding.element = .f32
        return encoding
    }

    /// Every image has its own latents, whatever is encoded with it; captions and texts are the same.
    @Test(arguments: ["kl", "vq"]) func imagesBecomeTheirLatents(_ kind: String) throws {
        var phases: [Int] = []
        let report = try encoding(kind).run { _, done, _ in phases.append(done) }
        #expect(phases == [5, 10, 15, 20, 24] && report.images == 24)
        #expect(PackedDataset.verify(report.path).isEmpty)
        let source = try PackedDataset(pictures.path), latents = try PackedDataset(report.path)
        let weights = try AutoencoderWeights(Fixtures.path("autoencoder/\(kind)")),
            scale = weights.configuration.latentScale
        #expect(report.shape == [weights.configuration.latentChannels, 4, 4])
        let context = Context.forTests()
        let model = Autoencoder(weights.configuration, context)
        try weights.load(into: model.parameters)
        var all: [Double] = []
        for index in 0..<24 {
            let pixels = try source.image(index)
            let picture = context.pictures(pixels, [1, 3, 8, 8])
            let expected = context.channelsFirst(model.latents(of: picture, context)).map { $0 * Float(scale) }
            let found = try latents.image(index)
            #expect(relativeError(found, expected) < 1e-6, "image \(index)")
            all += found.map(Double.init)
        }
        let mean = all.reduce(0, +) / Double(all.count)
        #expect(abs(try #require(report.mean) - mean) < 1e-6)
        #expect(latents.manifest.splits == source.manifest.splits)
        for index in 0..<24 { #expect(try latents.captionText(latents.pair(index)) == "red circle \(index)") }
        #expect(try latents.document(3) == source.document(3))
        #expect(try latents.keys() == source.keys())
        #expect(latents.manifest.description == "made by a test; latents of the autoencoder \(kind)")
    }

    /// The data set has all that it takes to make pictures again.
    @Test(arguments: ["kl", "vq"]) func latentsKeepTheirAutoencoder(_ kind: String) throws {
        let report = try encoding(kind).run()
        let weights = try AutoencoderWeights(Fixtures.path("autoencoder/\(kind)"))
        let copy = try AutoencoderWeights(report.path)
        #expect(copy.configuration == weights.configuration && copy.path == report.path + "/autoencoder.safetensors")
        #expect(try copy.digest() == weights.digest())
        let made = try #require(try PackedDataset(report.path).manifest.autoencoder)
        #expect(try made.digest == weights.digest() && made.downsampling == 2)
        #expect(made.path == Fixtures.path("autoencoder/\(kind)"))
        var again = encoding(kind)
        again.dataset = report.path
        again.output = directory.file("again")
        let error = #expect(throws: DataError.self) { try again.run() }
        #expect(error?.description == "\(report.path): has latents already; give a data set of pictures")
        var bytes = try Files.read(copy.path, limit: 1 << 24)
        bytes[bytes.count - 1] ^= 64
        try bytes.withUnsafeBytes { try Data($0).write(to: URL(filePath: copy.path)) }
        #expect(try AutoencoderWeights(report.path).digest() != made.digest)
        #expect(
            PackedDataset.verify(report.path).map(\.description).contains { $0.contains("autoencoder.safetensors") })
    }

    @Test func whatDoesNotFitIsRefusedAndLeavesNothing() throws {
        let latents = try SmallDataset(channels: 4)
        var wrong = encoding("kl")
        wrong.dataset = latents.path
        let error = #expect(throws: DataError.self) { try wrong.run() }
        #expect(
            error?.description
                == "\(latents.path): has images of 4 channels, which the autoencoder of 3 does not take; give a data set of "
                + "pictures")
        let broken = try SmallDataset(hasBrokenPicture: true)
        wrong.dataset = broken.path
        let refusal = #expect(throws: DataError.self) { try wrong.run() }
        #expect(
            refusal?.description.contains(": image 7 has latents that are no finite numbers") == true,
            "\(String(describing: refusal))")
        #expect(try POSIXFileSystem().list(directory.path).isEmpty)
    }
}
