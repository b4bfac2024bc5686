import Foundation
import Testing
import TransfusionCheckpoint
import TransfusionConfig
import TransfusionCore
import TransfusionData
import TransfusionModels
import _TestUtilities

@testable import TransfusionInference

@Suite struct ReconstructRequestTests {
    private let directory: _TestUtilities.TemporaryDirectory
    private let autoencoder = Fixtures.path("autoencoder/kl")

    init() throws {
        directory = try TemporaryDirectory()
    }

    private func picture(_ name: String, width: Int, height: Int) throws -> Picture {
        var picture = Picture(width: width, height: height)
        for index in picture.rgb.indices { picture.rgb[index] = UInt8(index * 7 % 251) }
        try Data(try PNG.encode(rgb: picture.rgb, width: width, height: height))
            .write(to: URL(filePath: directory.file(name)))
        return picture
    }

    private func request(_ pictures: [String]) -> ReconstructRequest {
        var request = ReconstructRequest(
            autoencoder: autoencoder, pictures: pictures.map { directory.file($0) }, output: directory.file("back"))
        request.precision = .f32
        return request
    }

    @Test func eachPictureStandsBesideWhatComesBack() throws {
        let original = try picture("a.png", width: 16, height: 12)
        let results = try request(["a.png"]).run()
        #expect(results.count == 1 && results[0].latent == [3, 6, 8])
        let both = try PictureFile.read(directory.file("back/000000.png"))
        #expect((both.width, both.height) == (32, 12))
        var left = Picture(width: 16, height: 12), right = left
        left.draw(both, x: 0, y: 0)
        right.draw(both, x: -16, y: 0)
        #expect(left == original)

        let context = Context.forTests(), weights = try AutoencoderWeights(autoencoder)
        let model = Autoencoder(weights.configuration, context)
        try weights.load(into: model.parameters)
        let pixels = context.pictures(original.planes.map { Float($0) / 127.5 - 1 }, [1, 3, 12, 16])
        let back = context.channelsFirst(model.pictures(of: model.latents(of: pixels, context), context))
        let expected = Picture(width: 16, height: 12, planes: back)
        let furthest = zip(right.rgb, expected.rgb).map { abs(Int($0) - Int($1)) }.max()
        #expect((furthest ?? 255) <= 1)
        #expect(results[0].psnr == ReconstructRequest.peakSignalToNoise(original, right))
    }

    @Test func theRatioIsThatOfTheMeanSquaredError() throws {
        let black = Picture(width: 2, height: 1, rgb: [0, 0, 0, 0, 0, 0])
        let other = Picture(width: 2, height: 1, rgb: [0, 0, 0, 0, 0, 51])
        // A squared error of 51² over 6 numbers: 10 · log10(255² · 6 / 51²) = 10 · log10(150).
        let ratio = try #require(ReconstructRequest.peakSignalToNoise(black, other))
        #expect(abs(ratio - 21.760912590556813) < 1e-9)
        #expect(ReconstructRequest.peakSignalToNoise(black, black) == nil)
    }

    @Test func sizesAreBroughtToWhatTheAutoencoderDivides() throws {
        _ = try picture("a.png", width: 17, height: 13)
        #expect(try request(["a.png"]).run()[0].latent == [3, 6, 8])
        var sized = request(["a.png"])
        sized.output = directory.file("sized")
        sized.size = 8
        #expect(try sized.run()[0].latent == [3, 4, 4])
    }

    @Test func whatCannotBeDoneIsOneLine() throws {
        _ = try picture("a.png", width: 1, height: 9)
        func problem(_ change: (inout ReconstructRequest) -> Void) -> String {
            var request = request(["a.png"])
            request.output = directory.file("none")
            change(&request)
            do {
                _ = try request.run()
                return ""
            } catch {
                return "\(error)"
            }
        }
        #expect(
            problem { _ in }.hasSuffix(
                "a picture of 1 × 9 has less than one latent; bring it to another size"))
        #expect(problem { $0.size = 7 } == "size: must be a multiple of the autoencoder's 2, from 2 to 2048, not 7")
        #expect(problem { $0.output = directory.file("x.png") }.contains("pictures need a directory"))
        #expect(problem { $0.autoencoder = directory.path }.contains("is no autoencoder"))
    }
}
