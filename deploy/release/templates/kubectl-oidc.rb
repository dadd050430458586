class KubectlOidc < Formula
  desc "Log in to Kubernetes with OpenID Connect, token in the system's credential store"
  homepage "@HOMEPAGE@"
  version "@VERSION@"
  license "Apache-2.0"

@SYSTEMS@
  def install
    bin.install "kubectl-oidc", "kubectl_complete-oidc"
    man1.install "kubectl-oidc.1"
    bash_completion.install "completion.bash" => "kubectl-oidc"
    zsh_completion.install "completion.zsh" => "_kubectl-oidc"
    fish_completion.install "completion.fish" => "kubectl-oidc.fish"
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/kubectl-oidc version")
  end
end
