internal import TransfusionConfig
internal import TransfusionCore
internal import TransfusionInference
internal import TransfusionParallel
internal import TransfusionTelemetry

extension TrainingLoop {
    /// Draws the fixed prompts when the configuration wants them after this step.
    ///
    /// A model is whole on the tensor-parallel ranks of one data-parallel rank: those draw, and the others wait at the
    /// next collective. A picture that cannot be written costs no training.
    func drawSamplesIfDue(keeping keeps: Bool) throws {
        guard let every = configuration.samples.everySteps, state.step % every == 0 || state.step == lastStep,
            setup.resources.mesh.data.rank == 0
        else { return }
        do {
            let pictures = try task.drawSamples(
                step: state.step, into: group.rank == 0 && keeps ? directory : nil, setup.resources.context)
            for (number, picture) in pictures.enumerated() {
                try reporter.reportSample(
                    number, png: picture.png, width: picture.width, height: picture.height, step: state.step)
            }
        } catch {
            reporter.log("warning: the samples of step \(state.step) could not be kept: \(error); training goes on")
        }
    }
}
